/*
 * The larger unit of an image: types of most kinds, functions, exception table, BTF IDs.
 *
 * Built with DWARF 5. The tables are out of order on purpose, for sorttable to have work.
 */
#include "arch.h"
#include "types.h"

/* The kernel's tables of symbols, as its code refers to them: they may not be there in a pass. */
extern const int kallsyms_offsets[] __weak;
extern const unsigned long kallsyms_addresses[] __weak;
extern const u8 kallsyms_names[] __weak;
extern const unsigned int kallsyms_num_syms __weak;
extern const unsigned long kallsyms_relative_base __weak;
extern const char kallsyms_token_table[] __weak;
extern const u16 kallsyms_token_index[] __weak;
extern const unsigned int kallsyms_markers[] __weak;
extern const u8 kallsyms_seqs_of_names[] __weak;
extern const u8 __start_BTF[] __weak, __stop_BTF[] __weak;

const void *const kallsyms_tables[] __used = {
	kallsyms_offsets, kallsyms_addresses, kallsyms_names, &kallsyms_num_syms,
	&kallsyms_relative_base, kallsyms_token_table, kallsyms_token_index, kallsyms_markers,
	kallsyms_seqs_of_names, __start_BTF, __stop_BTF,
};

u32 __section(".init.data") main_extable_sort_needed = 1;

struct task init_task = { .state = TASK_RUNNING, .flags = 5, .name = "swapper" };
static struct task *tasks[4] __used;
struct list *list_of_lists;
volatile const u8 *volatile cursor;
u64 matrix[3][5];
big_enum limit_value = LIMIT_HUGE;
int uninitialised;
__section(".data..percpu") long first_per_cpu = 1;
__section(".data..percpu") struct list runqueue;
__section(".data..percpu") static int hidden_per_cpu __used = 3;
__section(".init.data") static const char *boot_line __used = "quiet";

void __section(".head.text") head(void)
{
	init_task.state = TASK_STOPPED;
}

noinline int last_of_all(struct task *task, unsigned int mask)
{
	MAY_FAULT("3");
	return task->flags & mask;
}

noinline int middle(const struct task *task)
{
	MAY_FAULT("0x10002");
	MAY_FAULT("0x20002");
	return task->state;
}

/* Overridden below: the weak one of init.c is discarded from the symbols, its code stays. */
noinline int arch_setup(int argument)
{
	return argument + 1;
}

static noinline int helper(struct packet *packet)
{
	return packet->length + packet->data[0];
}

noinline s64 sum_all(struct packet *packet, union value value, callback_t *call)
{
	call(packet, 1);
	return helper(packet) + value.number;
}

noinline int print_line(const char *format, ...)
{
	MAY_FAULT("0");
	return format[0];
}

noinline float scale(float by, double from)
{
	return by * from;
}

/* Several names for one address; which comes first is kallsyms' business. */
int ksys_call(int number) { return number; }
int _ksys_call(int number) __attribute__((alias("ksys_call")));
int __ksys_call(int number) __attribute__((alias("ksys_call")));
int aaa_ksys_call(int number) __weak __attribute__((alias("ksys_call")));
int __start_ksys_call(int number) __attribute__((alias("ksys_call")));
extern struct task alias_of_init_task __attribute__((alias("init_task")));
extern struct task weak_task __weak __attribute__((alias("init_task")));

/* Names of 131, 139, 259 and 515 bytes; kallsyms refuses one of 512 and more. */
#define PASTE(a, b) a##b
#define JOIN(a, b) PASTE(a, b)
#define L32(x) JOIN(JOIN(x, _abcdefghijklmno), _abcdefghijklmno)
#define L128(x) L32(L32(L32(L32(x))))
#define L256(x) L128(L32(L32(L32(L32(x)))))
int L128(ln1)(void) { return 1; }
static int __used L128(static_long)(void) { return 2; }
int L256(ln2)(void) { return 3; }
int L256(L128(L128(ln3)))(void) { return 4; }

MCOUNT(CODE(print_line));
MCOUNT(CODE(middle));
MCOUNT(CODE(last_of_all));
MCOUNT(CODE(sum_all) " - 8");
MCOUNT(CODE(arch_setup) " - 64");
MCOUNT(CODE(middle));

#ifdef __x86_64__
/* ORC: the last two share an address, so that the order of equal ones counts. */
#define ORC(code, bytes)                                                                           \
	__asm__(".pushsection .orc_unwind_ip, \"a\"\n.long " code " - .\n.popsection\n"            \
		".pushsection .orc_unwind, \"a\"\n.byte " bytes "\n.popsection")
ORC(CODE(sum_all), "8, 0, 0, 0, 0x05, 0x02");
ORC(CODE(last_of_all), "16, 0, 0, 0, 0x05, 0x02");
ORC(CODE(middle), "24, 0, 0, 0, 0x15, 0x02");
ORC(CODE(print_line), "0, 0, 0, 0, 0, 0");
ORC(CODE(middle), "0, 0, 0, 0, 0, 0");
ORC(CODE(helper), "0, 0, 0, 0, 0, 0");
ORC(CODE(helper), "32, 0, 0, 0, 0x05, 0x02");
#endif

BTF_ID(struct, task, 10);
BTF_ID(union, value, 11);
BTF_ID(typedef, callback_t, 12);
BTF_ID(func, sum_all, 13);
BTF_ID(func, helper, 14);
BTF_ID(struct, task, 15);
BTF_ID(struct, nowhere_defined, 16);

BTF_IDS_BEGIN("__BTF_ID__set__call_targets", ".zero 4\n");
BTF_ID(func, sum_all, 20);
BTF_ID(func, print_line, 21);
BTF_ID(func, last_of_all, 22);
BTF_ID(func, middle, 23);
BTF_IDS_END("__BTF_ID__set__call_targets");

BTF_IDS_BEGIN("__BTF_ID__set8__flagged", ".zero 8\n");
BTF_ID_FLAGS(func, print_line, 30, 0x11);
BTF_ID_FLAGS(func, middle, 31, 0x22);
BTF_ID_FLAGS(func, arch_setup, 32, 0x33);
BTF_ID_FLAGS(func, last_of_all, 33, 0);
BTF_IDS_END("__BTF_ID__set8__flagged");

/*
 * The smaller unit of an image: what is dropped after the boot, weak definitions, a second set of the
 * same types, which BTF must merge.
 *
 * Built with DWARF 4.
 */
#include "arch.h"
#include "types.h"

int __weak arch_setup(int argument);
int __weak arch_setup(int argument)
{
	return argument;
}
int __weak arch_teardown(void)
{
	return 0;
}
u32 __weak weak_word = 7;
extern int weak_and_absent __weak;
int middle(const struct task *task);

static noinline int helper(union value *value)
{
	MAY_FAULT("0x30001");
	return value->number;
}

__section(".init.text") int start_kernel(struct task *task)
{
	union value value = { .pointer = &weak_and_absent };
	MAY_FAULT("0x40001");
	return middle(task) + helper(&value) + arch_setup(weak_word);
}

__section(".init.text") static int __used init_module_core(void)
{
	return 0;
}

__section(".init.rodata") const u32 table_of_init[3] = { 1, 2, 3 };
static callbacks_t callbacks __used;
static char log_buffer[300] __used;
__section(".data..percpu") u64 last_per_cpu = 9;
__section(".data..read_mostly") int mostly_read = 2;

MCOUNT(CODE(start_kernel) " + 4");
MCOUNT(CODE(arch_teardown));
MCOUNT(CODE(start_kernel));

BTF_ID(func, start_kernel, 40);
BTF_ID(func, helper, 41);

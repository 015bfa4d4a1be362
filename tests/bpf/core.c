// A program that knows the kernel's types only by name: every place and value of it comes from the kernel's
// BTF, through CO-RE relocations that libbpf applies in the guest. It says what it found in global variables.

#define CORE __attribute__((preserve_access_index))
#define SECTION(name) __attribute__((section(name), used))

// Kinds of __builtin_preserve_field_info, of __builtin_preserve_type_info and of __builtin_preserve_enum_value.
enum { BYTE_OFFSET = 0, BYTE_SIZE = 1, FIELD_EXISTS = 2 };
enum { TYPE_SIZE = 1 };
enum { ENUM_EXISTS = 0, ENUM_VALUE = 1 };

// Not the kernel's order, not its places, and one member that no kernel has.
struct task_struct {
	int pid;
	int tgid;
	char comm[16];
	struct task_struct *group_leader;
	int no_such_member;
} CORE;

enum pid_type {
	PIDTYPE_SID = 77,
	PIDTYPE_NONE = 78,
};

int pid_offset = -1;
int pid_size = -1;
int comm_offset = -1;
int task_size = -1;
int sid_value = -1;
int none_exists = -1;
int member_exists = -1;
int seen_pid = -1;
int seen_tgid = -1;
int leader_pid = -1;

// tp_btf: the verifier itself takes the types of the arguments from BTF (`btf_trace_sched_switch`), and
// allows a load through a pointer only where BTF has a member of that size.
SECTION("tp_btf/sched_switch")
int on_switch(unsigned long long *args)
{
	struct task_struct *next = (struct task_struct *)args[2];

	pid_offset = __builtin_preserve_field_info(next->pid, BYTE_OFFSET);
	pid_size = __builtin_preserve_field_info(next->pid, BYTE_SIZE);
	comm_offset = __builtin_preserve_field_info(next->comm, BYTE_OFFSET);
	member_exists = __builtin_preserve_field_info(next->no_such_member, FIELD_EXISTS);
	task_size = __builtin_preserve_type_info(*(struct task_struct *)0, TYPE_SIZE);
	sid_value = __builtin_preserve_enum_value(*(enum pid_type *)PIDTYPE_SID, ENUM_VALUE);
	none_exists = __builtin_preserve_enum_value(*(enum pid_type *)PIDTYPE_NONE, ENUM_EXISTS);

	if (next->comm[0] == 'c' && next->comm[1] == 'o' && next->comm[2] == 'r' &&
	    next->comm[3] == 'e' && next->comm[4] == '\0') {
		seen_pid = next->pid;
		seen_tgid = next->tgid;
		leader_pid = next->group_leader->pid;
	}
	return 0;
}

char terms[] SECTION("license") = "GPL";

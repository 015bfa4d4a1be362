// Reads a member that no kernel has: a loader that applies relocations must refuse it.

struct task_struct {
	int no_such_member;
} __attribute__((preserve_access_index));

int found;

__attribute__((section("tp_btf/sched_switch"), used)) int on_switch(unsigned long long *args)
{
	struct task_struct *next = (struct task_struct *)args[2];

	found = next->no_such_member;
	return 0;
}

char terms[] __attribute__((section("license"), used)) = "GPL";

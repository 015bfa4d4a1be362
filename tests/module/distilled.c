// SPDX-License-Identifier: GPL-2.0
// A module built outside the kernel's tree, so its BTF goes with a distilled base (.BTF.base), which the kernel
// replaces by its own types when it loads the module. It has types of its own on top of the kernel's, and
// a kfunc, whose id in .BTF_ids the kernel looks up in that BTF.

#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/sched.h>

struct distilled_entry {
	struct list_head list;
	struct task_struct *task;
	enum pid_type type;
	unsigned int bits:3;
};

__bpf_kfunc_start_defs();

__bpf_kfunc int distilled_type(struct distilled_entry *entry, pid_t pid)
{
	return entry->task && entry->task->pid == pid ? entry->type : -entry->bits;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(distilled_ids)
BTF_ID_FLAGS(func, distilled_type)
BTF_KFUNCS_END(distilled_ids)

static const struct btf_kfunc_id_set distilled_set = {
	.owner = THIS_MODULE,
	.set = &distilled_ids,
};

static int __init distilled_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_TRACING, &distilled_set);
}
module_init(distilled_init);

MODULE_DESCRIPTION("Split BTF on a distilled base");
MODULE_LICENSE("GPL");

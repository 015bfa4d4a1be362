// attach PINNED COMMAND...: runs the command while the pinned program is attached to the tracepoint that its BTF
// names. Debian's bpftool can load such a program, but not attach it.

#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	union bpf_attr get = { .pathname = argc > 2 ? (unsigned long)argv[1] : 0 };
	long program = syscall(SYS_bpf, BPF_OBJ_GET, &get, sizeof(get));
	union bpf_attr open = { .raw_tracepoint = { .prog_fd = (unsigned)program } };
	long link = syscall(SYS_bpf, BPF_RAW_TRACEPOINT_OPEN, &open, sizeof(open));

	// The kernel closes such descriptors at exec; this one is to live as long as the command.
	if (program < 0 || link < 0 || fcntl((int)link, F_SETFD, 0) < 0) {
		perror("attach");
		return 1;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 1;
}

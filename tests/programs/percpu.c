/* Per-CPU and other variables. */
#include "shared.h"
#define percpu __attribute__((section(".data..percpu")))
#define percpu_first __attribute__((section(".data..percpu..first")))

percpu int cpu_number = 1;
percpu struct pair cpu_pair = { 1 };
static percpu long cpu_private = 2;
percpu unsigned char cpu_bytes[3][5] = { { 1 } };
percpu struct list cpu_list = { 0 };
percpu struct flexible_cpu { int len; int data[]; } cpu_flexible = { 1 };
static percpu struct { int x; } cpu_anonymous = { 1 };
percpu void *cpu_pointer = &cpu_number;
percpu struct {} cpu_nothing = {};
int __UNIQUE_ID_percpu percpu = 1;
percpu_first int cpu_first = 4;
extern int cpu_declared;
percpu int cpu_declared = 5;
int plain = 1; static int plain_static = 2; const int plain_const = 3; int in_bss; static struct pair pair_in_bss[2];
char text[] = "text"; extern int not_defined_here; int __exitcall_x = 1;

int percpu_entry(void)
{
	static percpu int cpu_in_function = 6;
	static int static_in_function = 7;
	return cpu_number + (int)cpu_private + cpu_anonymous.x + cpu_in_function++ + static_in_function++ + plain_static + (int)pair_in_bss[0].first;
}

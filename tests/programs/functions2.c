/* Other functions of the same names. */
#include "shared.h"
#define noinline __attribute__((noinline))

extern int sink;
struct other { int x; };
static noinline int same_name(char *a) { return *a + sink; }
static noinline int same_proto(int x, const char *y) { return x - *y; }
static noinline int const_differs(int a, struct pair *b) { return a - (int)b->first; }
static noinline long returns_differ(int a) { return a - sink; }
static noinline int struct_differs(struct other *a) { return a->x; }
static noinline int array_differs(int (*a)[4]) { return (*a)[2]; }
static inline int inlined(int a, struct tree *tree) { return a + tree->height; }
noinline int calls_inlined_too(struct tree *tree) { return inlined(1, tree) - inlined(2, tree); }
noinline int passes_inlined(int (**f)(int, struct tree *)) { *f = inlined; return 0; }

int functions2_entry(int argc, char **argv)
{
	struct pair pair = { argc, 2 };
	int array[4] = { 1, argc, 3 };
	struct other other = { argc };
	return same_name(*argv) + same_proto(argc, *argv) + const_differs(argc, &pair) + (int)returns_differ(argc)
		+ struct_differs(&other) + array_differs(&array);
}

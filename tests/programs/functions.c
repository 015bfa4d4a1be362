/* Functions that optimisation changes, and functions of one name. */
#include "shared.h"
#define noinline __attribute__((noinline))

int sink;
static noinline int same_name(int a, int b) { return a * b + sink; }
static noinline int same_proto(int a, const char *b) { return a + *b; }
static noinline int const_differs(const int a, const struct pair *b) { return a + (int)b->first; }
static noinline int returns_differ(int a) { return a + sink; }
static noinline int struct_differs(struct small *a) { return a->only; }
static noinline int array_differs(int (*a)[3]) { return (*a)[1]; }

/* The second parameter is not used, and the first only through one member. */
static noinline int unused_second(struct pair *pair, int unused, int used) { return (int)pair->first + used + sink; }
static noinline int unused_first(int unused, int used) { return used * sink; }
static noinline int constant_second(int a, int constant) { return a / constant + sink; }
static noinline int by_reference(const int *value, int other) { return *value + other + sink; }
noinline int struct_by_value(struct pair pair, int x) { return (int)(pair.first + pair.second) + x; }
noinline int small_by_value(struct small s, int x) { return s.only + x; }
noinline int large_by_value(struct large large, int x) { return (int)large.words[2] + x; }
noinline int part_of_struct(struct pair pair, int x) { return (int)pair.second + x + sink; }
static noinline int static_struct(struct pair pair, int x) { return (int)pair.second + x + sink; }
noinline int packed_on_stack(int a, int b, int c, int d, int e, int f, struct packed p, int z)
{ return a + b + c + d + e + f + (int)p.value + z; }
noinline int packed_in_time(int a, struct packed p) { return a + (int)p.value; }
noinline int packed_const(int a, int b, int c, int d, int e, int f, int g, const struct packed p) { return a + b + c + d + e + f + g + p.tag; }
noinline int many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j)
{ return a + b + c + d + e + f + g + h + i + j; }
static noinline int many_unused(int a, int b, int c, int d, int e, int f, int g, int h) { return a + g + h + sink; }
noinline double floats(float a, int b, double c, long double d) { return a + b + c + (double)d; }
noinline struct large returns_large(int a) { struct large l = { { a } }; return l; }
noinline u64 wide_ints(u64 a, u32 b, u64 c, u8 d) { return a + b + c + d; }
#ifdef __SIZEOF_INT128__
noinline unsigned __int128 very_wide(int a, unsigned __int128 b, int c) { return a + b + c; }
#endif
noinline int variadic_function(int count, ...) { return count + sink; }
noinline void function_pointer(void (*call)(int, void *), void *data) { call(1, data); }
static inline int inlined(int a, struct tree *tree) { return a + tree->height; }
noinline int calls_inlined(struct tree *tree) { return inlined(1, tree) + inlined(2, tree); }
int weak_function(int a) __attribute__((weak));
int weak_function(int a) { return a; }
int alias_function(int a) __attribute__((alias("weak_function")));
static noinline int recursion(int a, int b, int c) { return a ? recursion(a - 1, b, 7) + b : sink; }
noinline int cold_part(int a)
{
	if (__builtin_expect(a > 100, 0)) { sink = a; for (int i = 0; i < a; i++) sink += recursion(i, a, 7) + sink * i; return -1; }
	return a * 2;
}
noinline int unnamed(int, int b);
noinline int unnamed(int a, int b) { return a + b; }
noinline int local_static(int a) { static int count; static struct pair pairs[2]; count += a; return count + (int)pairs[a & 1].first; }
int nested_declaration(int a) { extern int declared_inside(int, char *); return declared_inside(a, 0); }
int declared_inside(int a, char *b) { return a + (b != 0); }

int functions_entry(int argc, char **argv)
{
	struct pair pair = { argc, 2 };
	int array[3] = { 1, argc, 3 };
	struct small small = { argc };
	return same_name(argc, 2) + same_proto(argc, *argv) + const_differs(argc, &pair) + returns_differ(argc)
		+ struct_differs(&small) + array_differs(&array) + unused_second(&pair, 1, argc) + unused_first(1, argc)
		+ constant_second(argc, 3) + constant_second(argc + 1, 3) + by_reference(&argc, 3) + static_struct(pair, argc)
		+ many_unused(argc, 2, 3, 4, 5, 6, argc, argc + 1) + recursion(argc, argc, 7) + cold_part(argc);
}

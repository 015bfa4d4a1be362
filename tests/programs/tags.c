/* BTF tags, which clang writes. */
#include "shared.h"
#define type_tag(x) __attribute__((btf_type_tag(#x)))
#define decl_tag(x) __attribute__((btf_decl_tag(#x)))

struct tagged {
	int type_tag(user) *one;
	int type_tag(first) type_tag(second) *two;
	int type_tag(inner) * type_tag(outer) *nested;
	const struct pair type_tag(rcu) *qualified;
	void type_tag(user) *untyped;
	int (type_tag(user) *function)(int type_tag(user) *);
	int member decl_tag(member) decl_tag(again);
	struct { int inside decl_tag(inside); } decl_tag(anonymous) nested_struct;
	int bits : 3 decl_tag(bits);
} decl_tag(whole) decl_tag(whole_again);
union tagged_union { int a decl_tag(a); long b; } decl_tag(tagged_union);
typedef int tagged_typedef decl_tag(typedef);
typedef struct { int x decl_tag(x); } anonymous_tagged decl_tag(of_anonymous);
struct tagged tagged; union tagged_union tagged_union; tagged_typedef tagged_int; anonymous_tagged anonymous_tagged_var;
int tagged_variable decl_tag(variable) = 1;
int tagged_percpu __attribute__((section(".data..percpu"))) decl_tag(percpu) decl_tag(percpu2) = 1;
int untagged_percpu __attribute__((section(".data..percpu"))) = 1;
__attribute__((noinline)) int tagged_function(int a decl_tag(a), int type_tag(user) *b decl_tag(b) decl_tag(b_again)) decl_tag(function) decl_tag(function_again);
int tagged_function(int a, int type_tag(user) *b) { return a + (b != 0); }
static inline int tagged_inline(int a decl_tag(in_inline)) decl_tag(inline_function);
static inline int tagged_inline(int a) { return a * 3; }
int tagged_caller(int a) { return tagged_inline(a) + tagged_function(a, 0); }
int tagged_local(int a) { int decl_tag(local) b = a; static int decl_tag(static_local) c; return b + c++; }

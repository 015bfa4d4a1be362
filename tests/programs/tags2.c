/* The same with other tags. */
#include "shared.h"
#define type_tag(x) __attribute__((btf_type_tag(#x)))
#define decl_tag(x) __attribute__((btf_decl_tag(#x)))
struct tagged_twice { int type_tag(user) *a; int *b; };
struct tagged_other { int type_tag(rcu) *a; struct tagged_twice type_tag(user) *b; } decl_tag(whole);
union tagged_union { int a; long b; };
struct tagged_twice tagged_twice; struct tagged_other tagged_other; union tagged_union tagged_union_too;
static __attribute__((noinline)) int same_tagged(int type_tag(user) *a) { return *(int *)a; }
int calls_tagged(int *a) { return same_tagged((int type_tag(user) *)a); }

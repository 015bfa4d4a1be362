/* Sets of kfuncs, as BTF_KFUNCS_START and its like of include/linux/btf_ids.h make them. */
#include "shared.h"
#define STR(x) #x
#define SET(name, count, flags, body) \
	asm(".pushsection .BTF_ids,\"a\"\n.local __BTF_ID__set8__" #name "\n__BTF_ID__set8__" #name ":\n.4byte " #count "\n.4byte " #flags "\n" \
	    body ".size __BTF_ID__set8__" #name ", .-__BTF_ID__set8__" #name "\n.popsection\n")
#define ID(function, number, flags) \
	".local __BTF_ID__func__" #function "__" #number "\n.type __BTF_ID__func__" #function "__" #number ", @object\n.size __BTF_ID__func__" \
	#function "__" #number ", 4\n__BTF_ID__func__" #function "__" #number ":\n.zero 4\n.4byte " #flags "\n"
#define kfunc __attribute__((noinline, used))

kfunc int kfunc_plain(int a) { return a; }
kfunc void *kfunc_arena(void *a, u64 *b, int c) { return a + c + *b; }
kfunc void *kfunc_arena_ret(int a) { return (void *)(long)a; }
kfunc int kfunc_fast(struct list *a, const struct pair *b) { return a->next != 0; }
kfunc int kfunc_not_in_set(int a) { return a + 1; }
kfunc int kfunc_of_hooks(int a) { return a + 2; }
kfunc int kfunc_two_underscores__x(int a) { return a + 3; }
SET(kfuncs, 4, 1, ID(kfunc_plain, 10, 0) ID(kfunc_fast, 11, 0x1000) ID(kfunc_two_underscores__x, 12, 6) ID(kfunc_missing, 13, 0));
SET(hooks, 1, 0, ID(kfunc_of_hooks, 14, 0));
SET(arena, 2, 1, ID(kfunc_arena, 15, 0xe000) ID(kfunc_arena_ret, 16, 0x2000));

/* One of each type that C has. */
#include "shared.h"

enum sign { MINUS = -1, NONE, PLUS };
enum wide { ZERO, WIDE = 0x123456789ULL };
enum wide_sign { LOW = -0x123456789LL, HIGH = 1 };
enum __attribute__((packed)) narrow { A_BYTE = 200 };
enum __attribute__((packed)) narrow_sign { LEAST = -128, MOST = 127 };
enum { NAMELESS = 3 };
enum only_declared;

struct bits {
	unsigned a : 1, b : 3;
	signed c : 5;
	unsigned : 0;
	u64 d : 33, e : 31;
	_Bool f : 1;
	enum color g : 4;
	enum sign h : 2;
	u8 i : 7;
	u16 j : 9;
	const volatile u32 k : 11;
};
struct straddles { u8 a; u32 b : 20; u32 c : 12; u64 d : 40; } __attribute__((packed));
union bit_union { unsigned a : 4; u64 b : 40; struct { u8 x : 2, y : 6; }; };

struct nothing {};
struct of_nothing { struct nothing none; int x; struct nothing last; };
struct flexible { u32 len; u8 data[]; };
struct zero_length { u32 len; struct pair pairs[0]; };
struct arrays { int one[3], two[2][5], three[2][3][4]; char text[16]; const char *names[2]; int none[0][4], some[4][0]; };
typedef int matrix[4][4];
typedef matrix cube[3];

struct anonymous {
	int a;
	struct { int b; union { long c; void *d; struct { char e; }; }; };
	union { float f; double g; long double h; };
	struct { int x; } named;
	enum { INNER_A, INNER_B } state;
};
struct outer { struct inner { int x; struct innermost { char y; } deep; } in; enum in_struct { IN } e; };
typedef struct { struct list list; } anonymous_typedef;
typedef struct twice { int a; } twice, *twice_ptr;
typedef union { int i; float f; } either;
typedef enum { OFF, ON } toggle;

struct node { struct tree *owner; struct node *left, *right; struct list siblings; u64 key; };
struct a_of_b { struct b_of_a *b; };
struct b_of_a { struct a_of_b *a; struct b_of_a *self; compare cmp; };
struct functions {
	int (*open)(struct functions *, int flags, ...);
	void (*close)(void);
	const char *(*const name)(const struct node *restrict, unsigned);
	compare (*chooser)(int (*)(struct opaque *), union opaque_union *);
	void (**table)(int [static 3], struct pair);
};
struct qualified {
	const int a; volatile int b; const volatile int c;
	int *restrict d; const char *const *e; volatile struct node *const f;
	const struct pair i; const int j[4]; volatile matrix k;
};
struct aligned { char a; long b; } __attribute__((aligned(64)));
struct packed_aligned { char a; long b; } __attribute__((packed, aligned(2)));
struct opaque_user { struct opaque *o; union opaque_union *u; enum only_declared *e; };

struct basic {
	char a; signed char b; unsigned char c; short d; unsigned short e; int f; unsigned g; long h;
	unsigned long i; long long j; unsigned long long k; _Bool l; float m; double n; long double o;
	void *r; const void *s; __builtin_va_list *t;
#ifdef __SIZEOF_INT128__
	__int128 p; unsigned __int128 q;
#endif
};
typedef int vector __attribute__((vector_size(16)));
struct vectors { vector v; };

static u8 string_of_bytes[] = "abc";
struct bits bits; struct straddles straddles; union bit_union bit_union; struct of_nothing of_nothing;
struct flexible flexible; struct zero_length zero_length; struct arrays arrays; cube cubes; struct anonymous anonymous;
struct outer outer; anonymous_typedef anonymous_typed; twice_ptr twice_pointer; either one_of; toggle toggled;
struct node node; struct a_of_b a_of_b; struct functions functions; struct qualified qualified; struct aligned aligned;
struct packed_aligned packed_aligned; struct opaque_user opaque_user; struct basic basic; struct vectors vectors;
enum sign sign; enum wide wide; enum wide_sign wide_sign; enum narrow narrow; enum narrow_sign narrow_sign;
const enum color color_const = GREEN; struct packed packed; atomic counter; int nameless = NAMELESS;

int variable_length(int n, char text[n], int square[n][n])
{
	int local[n];
	struct { int inside; } here = { n };
	typedef struct { long in_function; } local_typedef;
	local_typedef there = { n };
	static struct only_here { enum color c; } kept;
	for (int i = 0; i < n; i++) {
		struct in_block { int b; } block = { i };
		local[i] = text[i] + square[i][i] + block.b + string_of_bytes[i & 3];
	}
	return local[n - 1] + here.inside + (int)there.in_function + kept.c;
}
int old_style() { return 1; }
int old_style_params(a, b) int a; char b; { return a + b; }
void no_return(void) { for (;;) ; }
int variadic(const char *format, ...) { return *format; }

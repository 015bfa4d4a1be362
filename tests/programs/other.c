/* The names of the other units, some with the same bodies and some with others. */
#include "shared.h"

struct node { struct tree *owner; struct node *left, *right; struct list siblings; u64 key; };
struct opaque { int now_known; struct list list; };
union opaque_union { int i; struct opaque *o; };
struct bits { int other; };
struct twice { int b; };
typedef struct twice twice;
struct basic;
struct a_of_b { struct b_of_a *b; };
struct b_of_a { struct a_of_b *a; struct b_of_a *self; int (*cmp)(const void *, const void *); };
struct nothing {};
struct anonymous { int a; struct { int b; union { long c; void *d; struct { char e; }; }; }; };
typedef struct { int i; } either;
typedef enum { OFF, ON } toggle;
enum sign { MINUS = -1, NONE, PLUS };
enum color2 { RED2, BLUE2 };
struct uses_basic { struct basic *basic; struct node *node; };
enum only_declared { NOW_DEFINED };
struct same_twice { struct { int x; } a; struct { int x; } b; };

struct node root; struct opaque opaque; union opaque_union opaque_union; struct bits bits_too; twice twice_too;
struct a_of_b cycle; struct b_of_a cycle_back; struct nothing nothing; struct anonymous anonymous_too; either either_too;
toggle toggle_too; enum sign sign_too; enum color2 color2; struct uses_basic uses_basic; enum only_declared only_declared;
struct same_twice same_twice; struct tree tree;

int uses(struct node *node, struct opaque *opaque) { return node->key > opaque->now_known; }

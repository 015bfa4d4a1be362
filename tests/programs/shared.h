/* What several units share. */
#ifndef SHARED_H
#define SHARED_H
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

struct list { struct list *next, *prev; };
struct node;
struct tree { struct node *root; int height; };
struct opaque;
union opaque_union;
struct pair { long first, second; };
struct small { int only; };
struct large { long words[4]; };
struct packed { char tag; long value; int rest; } __attribute__((packed));
typedef struct { int counter; } atomic;
typedef int (*compare)(const void *, const void *);
enum color { RED, GREEN, BLUE = 7 };
#endif

/* Types of every kind that BTF has. */
#ifndef TYPES_H
#define TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
typedef _Bool flag_t;

enum task_state { TASK_RUNNING, TASK_STOPPED = -3, TASK_DEAD = 0x7fffffff };
typedef enum { LIMIT_NONE = 0, LIMIT_HUGE = 0x123456789abcULL } big_enum;

struct opaque;

struct list {
	struct list *next, *previous;
};

struct task {
	enum task_state state;
	unsigned int flags : 3, : 2, more : 11;
	s64 wide : 37;
	flag_t exiting : 1;
	struct list list;
	struct {
		u16 inner;
		union {
			u32 whole;
			u8 parts[4];
		};
	};
	const struct opaque *restrict opaque;
	char name[16];
	int (*call)(struct task *, const char *, ...);
};

union value {
	u64 number;
	double real;
	void *pointer;
};

struct packet {
	u16 length;
	u8 data[];
} __attribute__((packed));

typedef void callback_t(struct packet *, int);
typedef callback_t *const callbacks_t[2];

#endif

/* What the text that scripts/kallsyms prints includes. */
#ifdef __LP64__
#define BITS_PER_LONG 64
#else
#define BITS_PER_LONG 32
#endif

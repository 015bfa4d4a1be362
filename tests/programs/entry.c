/* Where the program begins. */
#include "shared.h"
extern int functions_entry(int, char **), functions2_entry(int, char **), percpu_entry(void);
void _start(void) { functions_entry(1, 0); functions2_entry(1, 0); percpu_entry(); }
void *memcpy(void *to, const void *from, unsigned long n) { char *t = to; const char *f = from; while (n--) *t++ = *f++; return to; }
void *memset(void *to, int c, unsigned long n) { char *t = to; while (n--) *t++ = (char)c; return to; }

/* A qualifier that pahole knows since 1.25 and cannot encode. */
#include "shared.h"
_Atomic int number;
struct with_atomic { _Atomic(struct small) small; _Atomic long *pointer; } with_atomic;

/* A complex number, which BTF has no kind for. */
_Complex double number;

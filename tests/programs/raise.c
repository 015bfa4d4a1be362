/* What libgcc's division calls on arm. */
int raise(int signal) { return signal; }

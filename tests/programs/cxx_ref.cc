// A reference, which BTF has no kind for.
struct thing { int x; };
extern "C" int takes_reference(const thing &t) { return t.x; }

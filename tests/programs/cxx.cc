// What of C++ has a place in BTF.
namespace outer { namespace inner { struct in_namespace { int x; enum class Color : long { Red, Green = 1L << 40 } color; }; } }
class base { public: int b; void method(int); static int shared; };
class derived : public base { int d; public: int get() const { return d; } };
template <typename T> struct holder { T value; T *pointer; };
outer::inner::in_namespace in_namespace; derived object; holder<long> held; bool flag; wchar_t wide_char;
void base::method(int x) { b = x; }
extern "C" int from_cxx(holder<int> *h, derived *d) { return h->value + d->get(); }

/*
 * What differs between the architectures of the images: how an address is written into a table, the
 * form of an exception table entry, a one-word instruction that does nothing.
 */
#ifndef ARCH_H
#define ARCH_H

#ifdef __LP64__
#define ADDRESS ".quad "
#else
#define ADDRESS ".long "
#endif

#ifdef __s390x__
#define NOP "nopr %r7\n"
#else
#define NOP "nop\n"
#endif

/* The code of a function: with the first PowerPC ABI the plain name is the function's descriptor. */
#if defined(__powerpc64__) && _CALL_ELF != 2
#define CODE(function) "." #function
#else
#define CODE(function) #function
#endif

/*
 * An entry of __ex_table: 12 bytes, of which two words are relative; a relative pair (PowerPC); two
 * absolute words (ARM).
 */
#if defined(__powerpc64__)
#define EX_ENTRY(insn, fixup, data) ".long " insn " - .\n.long " fixup " - .\n"
#elif defined(__arm__)
#define EX_ENTRY(insn, fixup, data) ".long " insn ", " fixup "\n"
#else
#define EX_ENTRY(insn, fixup, data) ".long " insn " - .\n.long " fixup " - .\n.long " data "\n"
#endif

/* An instruction that may fault and where to go on, in the function that this stands in. */
#define MAY_FAULT(data)                                                                            \
	__asm__ volatile("1: " NOP "2: " NOP ".pushsection __ex_table, \"a\"\n.balign 4\n"         \
			 EX_ENTRY("1b", "2b", data) ".popsection")

/* An entry of the table of ftrace's locations. */
#define MCOUNT(location)                                                                           \
	__asm__(".pushsection __mcount_loc, \"a\"\n" ADDRESS location "\n.popsection")

/* Symbols of .BTF_ids, as resolve_btfids knows them. The number only makes a name unique. */
#define BTF_ID(kind, name, number) BTF_ID_WORD("__BTF_ID__" #kind "__" #name "__" #number, "")
#define BTF_ID_FLAGS(kind, name, number, flags)                                                    \
	BTF_ID_WORD("__BTF_ID__" #kind "__" #name "__" #number, ".long " #flags "\n")
#define BTF_ID_WORD(symbol, after)                                                                 \
	__asm__(".pushsection .BTF_ids, \"a\"\n.local " symbol "\n.type " symbol ", STT_OBJECT\n"  \
		".size " symbol ", 4\n" symbol ":\n.zero 4\n" after ".popsection")
#define BTF_IDS_BEGIN(symbol, header)                                                              \
	__asm__(".pushsection .BTF_ids, \"a\"\n.local " symbol "\n" symbol ":\n" header            \
		".popsection")
#define BTF_IDS_END(symbol)                                                                        \
	__asm__(".pushsection .BTF_ids, \"a\"\n.size " symbol ", . - " symbol "\n"                 \
		".type " symbol ", STT_OBJECT\n.popsection")

#define __section(name) __attribute__((section(name)))
#define __used __attribute__((used))
#define __weak __attribute__((weak))
#define noinline __attribute__((noinline, noclone))

#endif

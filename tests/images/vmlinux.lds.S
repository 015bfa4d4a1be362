/*
 * The linker script of the images: the layout of a kernel, much shortened. The C preprocessor makes
 * the script of one architecture from it, as Kbuild does.
 */
#if defined(__x86_64__)
OUTPUT_ARCH(i386:x86-64)
#define BASE 0xffffffff81000000
/* x86_64 up to 6.14 links the per-CPU data at address 0, in a segment of its own. */
#define PERCPU_AT_ZERO
#elif defined(__aarch64__)
OUTPUT_ARCH(aarch64)
#define BASE 0xffff800080000000
#define DYNAMIC
#elif defined(__riscv)
OUTPUT_ARCH(riscv)
#define BASE 0xffffffff80000000
#define DYNAMIC
#elif defined(__s390x__)
OUTPUT_ARCH(s390:64-bit)
#define BASE 0x100000
#elif defined(__arm__)
OUTPUT_ARCH(arm)
#define BASE 0xc0008000
#elif defined(__powerpc64__)
OUTPUT_ARCH(powerpc:common64)
#define BASE 0xc000000000000000
#endif

#ifdef PERCPU_AT_ZERO
#define SEGMENT(name) :name
#else
#define SEGMENT(name)
#endif
#define PAGE ALIGN(0x1000)

ENTRY(head)
jiffies = jiffies_64;

PHDRS
{
	text PT_LOAD FLAGS(5);
	data PT_LOAD FLAGS(6);
#ifdef PERCPU_AT_ZERO
	percpu PT_LOAD FLAGS(6);
#endif
	init PT_LOAD FLAGS(7);
	note PT_NOTE FLAGS(0);
}

SECTIONS
{
	. = BASE;
	.head.text : {
		_text = .;
		KEEP(*(.head.text))
	} :text
	.text : ALIGN(16) {
		_stext = .;
		*(.text .text.*)
		*(.stub)
	} :text =0
	_etext = .;

	. = PAGE;
	__start_rodata = .;
	.rodata : {
		*(.rodata) *(.rodata.*)
		. = ALIGN(8);
	} :text
	.opd : { *(.opd) } :text
	.got : { *(.got .toc .got.plt .igot .igot.plt) } :text
	.plt : { *(.plt .plt.* .iplt .glink .branch_lt) } :text
	.pdata : { *(.pdata) } :text
	.orc_unwind_ip : { *(.orc_unwind_ip) } :text
	.orc_unwind : { *(.orc_unwind) } :text
	. = ALIGN(8);
	__ex_table : {
		__start___ex_table = .;
		KEEP(*(__ex_table))
		__stop___ex_table = .;
	} :text
	.notes : {
		__start_notes = .;
		KEEP(*(.note.*))
		__stop_notes = .;
	} :text :note
	.BTF : {
		__start_BTF = .;
		KEEP(*(.BTF))
		__stop_BTF = .;
	} :text
	. = ALIGN(4);
	.BTF_ids : {
		*(.BTF_ids)
	} :text
	. = PAGE;
	__end_rodata = .;

	.data : {
		_sdata = .;
		*(.data..read_mostly)
		. = ALIGN(8);
		jiffies_64 = .;
		. += 8;
		*(.data .data.rel .data.rel.local .data.rel.ro .data.rel.ro.local .weak_data)
	} :data
	.sdata : { *(.sdata .sdata.*) } :data
	.rdata.odd : { *(.rdata.odd) } :data
	vars : { *(vars) } :data
	.fini.odd : { *(.fini.odd) } :data
	_edata = .;

	. = PAGE;
	__init_begin = .;
#ifdef PERCPU_AT_ZERO
	__per_cpu_load = .;
	.data..percpu 0 : AT(__per_cpu_load) {
		__per_cpu_start = .;
		*(.data..percpu)
		. = ALIGN(64);
		__per_cpu_end = .;
	} :percpu
	. = __per_cpu_load + SIZEOF(.data..percpu);
	. = PAGE;
#endif
	.init.text : {
		_sinittext = .;
		*(.init.text)
		_einittext = .;
	} SEGMENT(init)
#ifndef PERCPU_AT_ZERO
	.data..percpu : ALIGN(64) {
		__per_cpu_load = .;
		__per_cpu_start = .;
		*(.data..percpu)
		. = ALIGN(64);
		__per_cpu_end = .;
	} :init
#endif
	.init.data : ALIGN(8) {
		*(.init.data .init.rodata)
		. = ALIGN(8);
		__start_mcount_loc = .;
		KEEP(*(__mcount_loc))
		__stop_mcount_loc = .;
	} :init
#ifdef DYNAMIC
	.rela.dyn : ALIGN(8) {
		__rela_dyn_start = .;
		*(.rela .rela*)
		__rela_dyn_end = .;
	} :init
#endif
	. = PAGE;
	__init_end = .;

	.bss : ALIGN(64) {
		__bss_start = .;
		*(.sbss .sbss.*)
		*(.bss .bss.* .dynbss)
		*(COMMON)
		. = ALIGN(8);
		__bss_stop = .;
	} :init
	_end = .;
	phys_base_offset = ABSOLUTE(BASE - 0x1000);
	/* The absolute symbols that kallsyms does not drop; their values must be in reach of the others. */
	__kernel_syscall_via_break = ABSOLUTE(BASE + 0x10);
	__gp = ABSOLUTE(BASE + 0x24);

	.comment 0 : { *(.comment) }
	.debug_aranges 0 : { *(.debug_aranges) }
	.debug_info 0 : { *(.debug_info) }
	.debug_abbrev 0 : { *(.debug_abbrev) }
	.debug_line 0 : { *(.debug_line) }
	.debug_frame 0 : { *(.debug_frame) }
	.debug_str 0 : { *(.debug_str) }
	.debug_loc 0 : { *(.debug_loc) }
	.debug_ranges 0 : { *(.debug_ranges) }
	.debug_addr 0 : { *(.debug_addr) }
	.debug_line_str 0 : { *(.debug_line_str) }
	.debug_loclists 0 : { *(.debug_loclists) }
	.debug_rnglists 0 : { *(.debug_rnglists) }
	.debug_str_offsets 0 : { *(.debug_str_offsets) }
	.symtab 0 : { *(.symtab) }
	.strtab 0 : { *(.strtab) }
	.shstrtab 0 : { *(.shstrtab) }
	.ARM.attributes 0 : { *(.ARM.attributes) }
	.riscv.attributes 0 : { *(.riscv.attributes) }
	.gnu.attributes 0 : { *(.gnu.attributes) }

	/DISCARD/ : {
		*(.interp .dynamic .dynsym .dynstr .hash .gnu.hash .gnu.version*)
		*(.eh_frame .eh_frame_hdr .ARM.exidx* .ARM.extab* .note.GNU-stack .note.gnu.property)
		*(.discard .discard.*)
	}
}

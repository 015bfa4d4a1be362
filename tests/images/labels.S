/*
 * Symbols that no compiler makes here: those that scripts/mksysmap filters out, beside some that it
 * must keep, and sections for whose names nm has a letter of its own.
 */
	.macro label name:req, global=1
	.if \global
	.globl "\name"
	.endif
	.type "\name", STT_OBJECT
"\name":
	.byte 1
	.size "\name", 1
	.endm

	.section .rodata.labels, "a"
	label "__crc_sum_all"
	label "__kstrtab_sum_all"
	label "__kstrtabns_sum_all", 0
	label "__efistub_entry"
	label "__kcfi_typeid_middle"
	label "__kvm_nvhe___kcfi_typeid_middle"
	label "__pi___kcfi_typeid_middle", 0
	label "__kvm_nvhe_kept"
	label "__pi_kept"
	label "__AArch64ADRPThunk_middle"
	label "__Thunk_middle"
	label "__a_b_Thunk_kept"
	label "middle_from_arm"
	label "middle_from_thumb"
	label "middle_veneer", 0
	label "middle_veneer_kept"
	label "L0"
	label "L0_kept"
	label "_SDA_BASE_"
	label "_SDA2_BASE_"
	label "stub.long_branch.middle"
	label "stub.plt_branch.middle", 0
	label "__mod_device_table__pci__ids"
	label "__UNIQUE_ID_modinfo_123"
	label "__UNIQUE_ID_modinfo_kept"
	label "__UNIQUE_ID_modinfo123"
	label "middle.cold", 0
	label "middle.llvm.12345"
	label "middle.part.0.llvm.77", 0
	label "with$dollar"
	label "$x"
	label "$d.17", 0
	label "__pi_$x", 0
	label "__kvm_nvhe_$d", 0
	label "__kvm_nvhe_.Llabel", 0
	label "__pi_.Llabel", 0
	label ".Lglobal_label"
	label ".L_kept_by_as", 0
	label "__start_labels"
	label "__stop_labels"
	label "_start_of_nothing"

	/* Names that do not compress below 128 bytes: a length of two bytes in kallsyms_names. */
	label "long_Y55E2i70mevRNmYeUrRpkFrsvu8Dvn4bN__2KRwRc6fIpX584RN0_qIPoUqXmZmGRlR8B9sKPx4V8E2_UyCuR5AW1Xu3pc7DGN8aBKAPBFAdd_XEQcKANpcD2m9z9BUZeeMnJH44uZ9WNzy7qzcD1tQlJCDcyXZ8rJ8Fi4gWY_m_wVU71c1yxRX_UUnHfvfxrZhtvAYQ6idk88jq86VGjUZTlZE_hBgW7fm9AVDSASqmOa1oewfE4tBzFrOYIqmsPgoVdmi9MiPfMKZT_b382iVPrxij4fczSlxwQf7"
	label "long_35sxcxayjc_Gbh5W5ifRPM1MwBA5Sk5kst2ei0Q9yVI0tGl_CGbhs442jNHs7nZSYfJA7pHJ1AKkRbbcyZ1ZvvTUjnSB9TNP5XLb_tXG3EEjIRVo4_8c8zQwfp_q8fAusFHZn0kLKf3weqIGsD0QlC8CdLegdlwnpyTZdolcJKsDuCLJSXfHH5fpeuSt0r_Nj3PCUMe3TftRi3ijbR8blFAvCA_ddHulmV_40HfkvBIgbIooAYJLmUqQs2S0mbDZaba9Q2MtmG77i0c649AwW63M2LNHxejei0YCXLzxSjMMrKfVvgkh039zyNRolWMy5iIeqjTEjvzCS81J6ljPDqYiEBovArmq6hJ3iQPxfcdKy5i4s1hLf4kgWWksZ9vPIztdutg5zGW6oICoj4uBQmRReEmMX3OgWVjut6bwHE1HQmOOr9C6Z_M35sRUrEX_Zo2YKKvFHJnsTeomPpR46G2t1BWu7wp4", 0

	.globl global_absolute
	.set global_absolute, 0x1234
	.set local_absolute, 0x42
	.weak weak_to_nothing
	.globl nothing_to_link_against
	.set nothing_to_link_against, weak_to_nothing

	.comm common_block, 24, 8
	.lcomm local_common, 8

	.section .sdata, "aw"
	label "small_data"
	label "local_small_data", 0
	.section .sbss, "aw", %nobits
	.globl small_bss
small_bss:
	.zero 4
	.section .rdata.odd, "aw"
	label "rdata_is_r"
	.section .pdata, "a"
	label "pdata_is_p"
	label "local_pdata", 0
	.section vars, "aw"
	label "vars_is_d", 0
	.section .fini.odd, "aw"
	label "fini_is_t"
	.section .weak_data, "aw"
	.weak weak_object
	.type weak_object, STT_OBJECT
weak_object:
	.byte 0
	.size weak_object, 1

	.section .note.GNU-stack, "", %progbits

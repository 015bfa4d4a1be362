	.text
	.globl in_assembler
	.type in_assembler, @function
in_assembler:
	nop
	.size in_assembler, .-in_assembler
	.type in_assembler_too, @function
in_assembler_too:
	nop
	.size in_assembler_too, .-in_assembler_too

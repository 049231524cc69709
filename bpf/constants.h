/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Numbers that are filled in after the compile, when the program is loaded for one interface. bcc has no .rodata, but a
 * 64-bit immediate with its pseudo register 0 is a plain constant that the compiler cannot fold: Python replaces the
 * placeholder in the instructions, and the verifier removes what it makes dead. No cost on the hot path.
 */
#ifndef XDPWALL_CONSTANTS_H
#define XDPWALL_CONSTANTS_H

#define LOAD_TIME_CONSTANT(placeholder) ((u32)bpf_pseudo_fd(0, placeholder))

/* Which column of the verdict counters this interface has. */
#define INTERFACE_SLOT LOAD_TIME_CONSTANT(0x57a11001)
/* 1 where frames can span buffers (BPF_F_XDP_HAS_FRAGS). */
#define JUMBO LOAD_TIME_CONSTANT(0x57a11002)
/* Ticks >> this = epoch of the meters, about a second; depends on the kernel's HZ, which only a running kernel tells. */
#define EPOCH_SHIFT LOAD_TIME_CONSTANT(0x57a11003)

#endif

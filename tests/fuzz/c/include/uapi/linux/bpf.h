/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* In place of bcc's own: what bpf/wall.c takes from it, for a compiler of this machine. */
#include <linux/bpf.h>

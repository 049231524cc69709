/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* bcc asks for 4.8 or later here; no program of ours looks at it. */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 10, 0)

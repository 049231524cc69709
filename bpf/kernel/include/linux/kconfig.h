/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The first file that bcc includes, in place of the kernel's own: the few names that bcc's built-in headers and our own
 * programs take from it. With this folder as BCC_KERNEL_SOURCE no kernel headers need be installed.
 */
#ifndef XDPWALL_KCONFIG_H
#define XDPWALL_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1

typedef unsigned char __u8, u8;
typedef unsigned short __u16, u16;
typedef unsigned int __u32, u32;
typedef unsigned long long __u64, u64;
typedef signed char __s8, s8;
typedef short __s16, s16;
typedef int __s32, s32;
typedef long long __s64, s64;

/* In network byte order: the names say so, the compiler does not check it. */
typedef __u16 __be16, __sum16, __le16;
typedef __u32 __be32, __wsum, __le32;
typedef __u64 __be64, __le64;
typedef __u64 __aligned_u64 __attribute__((aligned(8)));

typedef unsigned long size_t;
typedef unsigned long uintptr_t;
typedef _Bool bool;

#endif

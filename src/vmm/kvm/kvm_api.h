// The one place that includes <linux/kvm.h>.
//
// Debian 12's <linux/stddef.h> declares flexible array members through an empty struct, which is
// one byte long in C++ and none in C: sizeof(kvm_cpuid2) becomes 12, and with it every ioctl number
// that encodes such a size is wrong and answers EINVAL. So that header comes first, and its macro
// is replaced by a plain flexible array, which g++ and clang lay out as C does.
#pragma once

#include <linux/stddef.h>

#ifdef __DECLARE_FLEX_ARRAY
#undef __DECLARE_FLEX_ARRAY
#endif
// NOLINTNEXTLINE(bugprone-reserved-identifier): the kernel's own name.
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) TYPE NAME[0]

#include <linux/kvm.h>

static_assert(sizeof(kvm_cpuid2) == 8, "the kernel's kvm_cpuid2 is a header of two u32");
static_assert(sizeof(kvm_msrs) == 8, "the kernel's kvm_msrs is a header of two u32");

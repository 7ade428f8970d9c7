// The test guests, as bytes.
#pragma once

#include "vmm/probe/images.h"

FTVMM_GUEST_IMAGE(checkpoint)
FTVMM_GUEST_IMAGE(compute)
FTVMM_GUEST_IMAGE(cpuid)
FTVMM_GUEST_IMAGE(hlt)
FTVMM_GUEST_IMAGE(idt_iret)
FTVMM_GUEST_IMAGE(interrupt_window)
FTVMM_GUEST_IMAGE(mmio)
FTVMM_GUEST_IMAGE(page_fault)
FTVMM_GUEST_IMAGE(port_echo)
FTVMM_GUEST_IMAGE(rdtsc)
FTVMM_GUEST_IMAGE(ring3)
FTVMM_GUEST_IMAGE(saved_machine)
FTVMM_GUEST_IMAGE(self_modifying)
FTVMM_GUEST_IMAGE(string_io)
FTVMM_GUEST_IMAGE(vcpu_state)
FTVMM_GUEST_IMAGE(xmm_state)

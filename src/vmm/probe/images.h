// The probes' guests, as bytes (guests/*.S, embedded by cmake/guests.cmake).
#pragma once

#include <cstddef>
#include <span>

// Declares the symbols of guest `name` and ftvmm::images::name() for its bytes.
#define FTVMM_GUEST_IMAGE(name)                                           \
    extern "C" const std::byte ftvmm_guest_##name[];                      \
    extern "C" const std::byte ftvmm_guest_##name##_end[];                \
    namespace ftvmm::images {                                             \
    inline std::span<const std::byte> name() {                            \
        return {static_cast<const std::byte*>(ftvmm_guest_##name),        \
                static_cast<const std::byte*>(ftvmm_guest_##name##_end)}; \
    }                                                                     \
    }

FTVMM_GUEST_IMAGE(probe_answer)
FTVMM_GUEST_IMAGE(probe_branches)
FTVMM_GUEST_IMAGE(probe_dirty)
FTVMM_GUEST_IMAGE(probe_exits)
FTVMM_GUEST_IMAGE(probe_fxrstor)
FTVMM_GUEST_IMAGE(probe_msr)
FTVMM_GUEST_IMAGE(probe_sse)
FTVMM_GUEST_IMAGE(probe_step)
FTVMM_GUEST_IMAGE(probe_straight)
FTVMM_GUEST_IMAGE(probe_tsc)
FTVMM_GUEST_IMAGE(probe_user_mode)
FTVMM_GUEST_IMAGE(probe_window)

// Writing fixed structures to guest memory below 1 MiB, which every guest has.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include "base/check.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::boot {

inline void store_bytes(const GuestMemory& memory, Gpa address, std::span<const std::byte> bytes) {
    FTVMM_CHECK(memory.write(address, bytes), "a guest has the RAM of its low structures");
}

// The bytes of `value` as they are in memory.
template <class T>
void store_value(const GuestMemory& memory, Gpa address, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    store_bytes(memory, address, std::as_bytes(std::span(&value, 1)));
}

}  // namespace ftvmm::boot

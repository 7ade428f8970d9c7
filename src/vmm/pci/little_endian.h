// Numbers as PCI and virtio lay them out in bytes: lowest byte first, at any alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"

namespace ftvmm::pci {

// The number in the first `size` bytes of `bytes`, which has them; `size` is at most 8.
inline std::uint64_t load(std::span<const std::byte> bytes, std::size_t size) {
    FTVMM_CHECK(size <= sizeof(std::uint64_t) && size <= bytes.size(),
                "a load reads what is there");
    std::uint64_t value = 0;
    for (std::size_t i = size; i > 0; --i) {
        value = value << 8U | std::to_integer<std::uint64_t>(bytes[i - 1]);
    }
    return value;
}

// The T at `offset`, which lies in `bytes` as a whole.
template <class T>
T load_at(std::span<const std::byte> bytes, std::size_t offset) {
    return static_cast<T>(load(bytes.subspan(offset), sizeof(T)));
}

// Writes the low `size` bytes of `value` to the front of `bytes`, which has room for them.
inline void store(std::span<std::byte> bytes, std::size_t size, std::uint64_t value) {
    FTVMM_CHECK(size <= sizeof(std::uint64_t) && size <= bytes.size(), "a store has the room");
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::byte>(value >> (8U * i));
    }
}

// Writes `value` at `offset`, where it fits as a whole.
template <class T>
void store_at(std::span<std::byte> bytes, std::size_t offset, T value) {
    store(bytes.subspan(offset), sizeof(T), value);
}

}  // namespace ftvmm::pci

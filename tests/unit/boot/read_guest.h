// Looking at guest memory by address.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include <catch2/catch.hpp>

#include "vmm/memory/guest_memory.h"

namespace ftvmm::boot {

// The T at `address`, which the test needs to be RAM.
template <class T>
T read_guest(const GuestMemory& memory, std::uint64_t address) {
    const auto bytes = memory.find(Gpa(address), sizeof(T));
    REQUIRE(bytes.size() == sizeof(T));
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

inline std::string_view guest_text(const GuestMemory& memory, std::uint64_t address,
                                   std::uint64_t length) {
    const auto bytes = memory.find(Gpa(address), length);
    REQUIRE(bytes.size() == length);
    return {reinterpret_cast<const char*>(bytes.data()), length};
}

}  // namespace ftvmm::boot

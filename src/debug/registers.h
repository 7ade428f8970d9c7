// An x86-64 processor's registers as GDB numbers them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ftvmm::debug {

struct Registers {
    // RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8 to R15.
    std::array<std::uint64_t, 16> general{};
    std::uint64_t rip = 0;
    std::uint32_t rflags = 0;
    std::array<std::uint32_t, 6> selectors{};  // CS, SS, DS, ES, FS, GS.
    using X87 = std::array<std::byte, 10>;
    std::array<X87, 8> st{};
    // The x87's control, status and tag words, the selector and offset of its last instruction and
    // of that one's operand, and its opcode.
    std::array<std::uint32_t, 8> x87{};
    using Xmm = std::array<std::byte, 16>;
    std::array<Xmm, 16> xmm{};
    std::uint32_t mxcsr = 0;
    std::uint64_t fs_base = 0;
    std::uint64_t gs_base = 0;
};

// What tells GDB of them: the target.xml of qXfer:features.
[[nodiscard]] const std::string& target_description();
// All of them, in the description's order, as a `g` packet holds them.
[[nodiscard]] std::vector<std::byte> bytes_of(const Registers& registers);
// Where in these bytes register `number` lies; nothing: there is no such register.
struct RegisterPlace {
    std::size_t offset = 0;
    std::size_t bytes = 0;
};
[[nodiscard]] std::optional<RegisterPlace> place_of_register(std::uint64_t number);

}  // namespace ftvmm::debug

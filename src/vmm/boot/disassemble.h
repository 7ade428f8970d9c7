// A few instructions as people read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ftvmm::boot {

// How the processor takes the code: by the operand size of its segment.
enum class CodeSize : std::uint8_t { k16Bit, k32Bit, k64Bit };

// How many bytes before an instruction are enough to find those that lead to it.
inline constexpr std::size_t kBytesBefore = 64;
// How many bytes disassemble_around() looks at from it on.
inline constexpr std::size_t kBytesFrom = 80;

// Up to three instructions before `address`, the one at it, marked with ">", and four behind it, a
// line each: "> ffffffff81000000  48 89 c8  mov rax, rcx". `before` are the bytes that end at
// `address`, `from` those that begin there; where memory can not be read they end. What came before
// is where a sweep meets `address`, which other code might do too: it is for people alone.
[[nodiscard]] std::vector<std::string> disassemble_around(std::uint64_t address,
                                                          std::span<const std::byte> before,
                                                          std::span<const std::byte> from,
                                                          CodeSize size);

}  // namespace ftvmm::boot

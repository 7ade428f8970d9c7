// The small files on shared storage: lines of text that people can read, with a checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ftvmm::lock {

// What such a file has at most. Bounds what any bytes can make a reader allocate.
inline constexpr std::size_t kMaxFileBytes = 2048;

struct Field {
    std::string_view key;
    std::string value;  // Printable ASCII, on one line.
};

// "title", then "key value" for each field, then "checksum" and XXH3-64 of all lines before.
[[nodiscard]] std::string write_fields(std::string_view title, std::span<const Field> fields);
// The values, in the order of `keys`, which the file has in that order and no others. Any bytes may
// be given. An error says what is wrong.
[[nodiscard]] Result<std::vector<std::string>> read_fields(std::string_view text,
                                                           std::string_view title,
                                                           std::span<const std::string_view> keys);

[[nodiscard]] std::string to_hex(std::span<const std::uint8_t> bytes);
// Of exactly that many bytes in lower case, into `out`; false if it is anything else.
[[nodiscard]] bool from_hex(std::string_view text, std::span<std::uint8_t> out);
// Decimal, without a sign or zeroes in front.
[[nodiscard]] std::optional<std::uint64_t> to_number(std::string_view text);

}  // namespace ftvmm::lock

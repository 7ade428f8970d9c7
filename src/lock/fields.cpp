#include "lock/fields.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace ftvmm::lock {

namespace {

bool is_one_line(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

std::string checksum_line(std::string_view before) {
    return fmt::format("checksum {:016x}\n", XXH3_64bits(before.data(), before.size()));
}

}  // namespace

std::string write_fields(std::string_view title, std::span<const Field> fields) {
    std::string text = fmt::format("{}\n", title);
    for (const Field& field : fields) {
        FTVMM_CHECK(is_one_line(field.value), "a value is one line of text");
        text += fmt::format("{} {}\n", field.key, field.value);
    }
    text += checksum_line(text);
    FTVMM_CHECK(text.size() <= kMaxFileBytes, "a file keeps its limit");
    return text;
}

Result<std::vector<std::string>> read_fields(std::string_view text, std::string_view title,
                                             std::span<const std::string_view> keys) {
    if (text.size() > kMaxFileBytes) return fail("it is larger than any that is written");
    const auto take_line = [&text]() -> std::optional<std::string_view> {
        const std::size_t end = text.find('\n');
        if (end == std::string_view::npos) return std::nullopt;
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(end + 1);
        return line;
    };
    const std::string_view whole = text;
    if (take_line() != title) return fail(fmt::format("it does not begin with \"{}\"", title));
    std::vector<std::string> values;
    for (const std::string_view key : keys) {
        const auto line = take_line();
        const bool is_it = line && line->size() > key.size() && line->starts_with(key) &&
                           (*line)[key.size()] == ' ' && is_one_line(*line);
        if (!is_it) return fail(fmt::format("its line \"{}\" is missing", key));
        values.emplace_back(line->substr(key.size() + 1));
    }
    if (text != checksum_line(whole.substr(0, whole.size() - text.size()))) {
        return fail("its checksum is wrong");
    }
    return values;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
    std::string text;
    for (const std::uint8_t byte : bytes)
        text += fmt::format("{:02x}", byte);
    return text;
}

bool from_hex(std::string_view text, std::span<std::uint8_t> out) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    if (text.size() != 2 * out.size()) return false;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::size_t high = kDigits.find(text[2 * i]);
        const std::size_t low = kDigits.find(text[2 * i + 1]);
        if (high == std::string_view::npos || low == std::string_view::npos) return false;
        out[i] = static_cast<std::uint8_t>(high << 4U | low);
    }
    return true;
}

std::optional<std::uint64_t> to_number(std::string_view text) {
    std::uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || fmt::format("{}", value) != text) {
        return std::nullopt;
    }
    return value;
}

}  // namespace ftvmm::lock

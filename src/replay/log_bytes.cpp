#include "replay/log_bytes.h"

#include <fmt/format.h>

namespace ftvmm::replay {

std::uint64_t ByteReader::varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (is_at_end()) {
            fail("a number is cut off");
            return 0;
        }
        const auto byte = std::to_integer<std::uint64_t>(bytes_[at_]);
        // The tenth byte holds the 64th bit alone.
        if (shift == 63 && byte > 1) break;
        ++at_;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    fail("a number is longer than any");
    return 0;
}

std::span<const std::byte> ByteReader::raw(std::size_t size) {
    if (size > bytes_.size() - at_) {
        fail("more bytes are announced than there are");
        return {};
    }
    const auto bytes = bytes_.subspan(at_, size);
    at_ += size;
    return bytes;
}

std::span<const std::byte> ByteReader::blob() {
    return raw(varint());
}

void ByteReader::fail(const char* what) {
    if (failure_) return;
    failure_ = fmt::format("{} at byte {}", what, at_);
    at_ = bytes_.size();
}

}  // namespace ftvmm::replay

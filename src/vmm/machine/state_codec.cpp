#include "vmm/machine/state_codec.h"

namespace ftvmm::machine {

std::string to_string(std::span<const std::byte> bytes) {
    std::string text(bytes.size(), '\0');
    std::ranges::transform(bytes, text.begin(), [](std::byte byte) {
        return static_cast<char>(std::to_integer<unsigned char>(byte));
    });
    return text;
}

std::vector<std::byte> to_bytes(const std::string& bytes) {
    std::vector<std::byte> result(bytes.size());
    std::ranges::transform(bytes, result.begin(),
                           [](char byte) { return static_cast<std::byte>(byte); });
    return result;
}

std::vector<std::byte> Decoder::take_bulk(std::uint64_t size, const char* name) {
    const bool fits = size <= bulk_.size();
    require(fits, name);
    if (!fits) return {};
    const auto taken = bulk_.first(size);
    bulk_ = bulk_.subspan(size);
    return {taken.begin(), taken.end()};
}

Result<void> Decoder::result() const {
    if (!wrong_.empty()) return fail(fmt::format("its {} is none that a machine has", wrong_));
    if (!bulk_.empty()) return fail("it holds data that belongs to nothing");
    return {};
}

}  // namespace ftvmm::machine

// KVM's variable-length structs: a header followed by `count` entries in one block.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace ftvmm::kvm {

// Owns a zeroed Header with room for `capacity` entries after it. The header says how many of them
// count; that is the caller's to set and read, as each struct names that field otherwise.
template <class Header, class Entry>
class FlexArray {
  public:
    explicit FlexArray(std::size_t capacity)
        : capacity_(capacity),
          words_((sizeof(Header) + capacity * sizeof(Entry) + sizeof(Word) - 1) / sizeof(Word)) {
        static_assert(alignof(Header) <= alignof(Word) && alignof(Entry) <= alignof(Word));
        static_assert(sizeof(Header) % alignof(Entry) == 0);
    }
    FlexArray(std::size_t capacity, std::span<const Entry> entries) : FlexArray(capacity) {
        std::memcpy(this->entries().data(), entries.data(), entries.size_bytes());
    }

    [[nodiscard]] Header* header() { return reinterpret_cast<Header*>(words_.data()); }
    [[nodiscard]] std::span<Entry> entries() {
        return {
            reinterpret_cast<Entry*>(reinterpret_cast<std::byte*>(words_.data()) + sizeof(Header)),
            capacity_};
    }

  private:
    using Word = unsigned long long;
    std::size_t capacity_;
    std::vector<Word> words_;
};

}  // namespace ftvmm::kvm

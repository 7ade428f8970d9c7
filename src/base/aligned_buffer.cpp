#include "base/aligned_buffer.h"

#include <new>

namespace ftvmm {

AlignedBuffer::AlignedBuffer(std::size_t size)
    : bytes_(static_cast<std::byte*>(::operator new (size, std::align_val_t{kBufferAlignment}))),
      size_(size) {}

void AlignedBuffer::Free::operator()(std::byte* bytes) const {
    ::operator delete (bytes, std::align_val_t{kBufferAlignment});
}

SharedBytes SharedBytes::copy_of(std::span<const std::byte> bytes) {
    AlignedBuffer buffer(bytes.size());
    std::ranges::copy(bytes, buffer.bytes().begin());
    return SharedBytes(std::move(buffer));
}

}  // namespace ftvmm

#include "vmm/host/aligned_buffer.h"

#include <algorithm>
#include <new>

namespace ftvmm::host {

AlignedBuffer::AlignedBuffer(std::size_t size)
    : bytes_(static_cast<std::byte*>(::operator new (size, std::align_val_t{kBufferAlignment}))),
      size_(size) {
    std::ranges::fill(bytes(), std::byte{0});
}

void AlignedBuffer::Free::operator()(std::byte* bytes) const {
    ::operator delete (bytes, std::align_val_t{kBufferAlignment});
}

}  // namespace ftvmm::host

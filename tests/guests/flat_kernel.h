// A small guest as a kernel, for a whole machine to start.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace ftvmm::guests {

// A flat image as the ELF file that the machine takes for a kernel: one segment, one section of
// code.
std::vector<std::byte> make_kernel(std::span<const std::byte> image);

}  // namespace ftvmm::guests

// The compressed kernel inside a bzImage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace ftvmm::boot {

// No kernel unpacks to more: Debian's, with all that is built in, take less than 80 MiB.
inline constexpr std::uint64_t kMaxUnpackedBytes = std::uint64_t{512} << 20;

// Memory for an unpacked kernel: a mapping, as a vector would write all of it once for its zeros.
// Without huge pages: they halve the time where the host has some ready, but where it has to make
// room for them first it now and then takes many times as long.
Result<Mapping> map_kernel(std::uint64_t bytes);

// Unpacks gzip, xz (with the x86 filter), lz4 in its legacy framing, and zstd. As the kernel's
// build lays it down, the last four bytes of `payload` are the size it unpacks to
// (arch/x86/boot/compressed, "size_append"; gzip's own trailer is the same number): what unpacks to
// more, to less or to over kMaxUnpackedBytes is refused. An ELF file passes through as it is.
Result<Mapping> unpack_payload(std::span<const std::byte> payload);

}  // namespace ftvmm::boot

#include "vmm/boot/payload.h"

#include <fmt/format.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "vmm/boot/load_bytes.h"

namespace ftvmm::boot {

namespace {

using Bytes = std::span<const std::byte>;
// Fills `output` from `packed`; false where they are no such stream or of another size.
using Unpack = bool (*)(Bytes packed, std::span<std::byte> output);

constexpr std::uint64_t kSizeBytes = 4;
// The xz dictionary of kernels is 32 MiB; the decoder needs little beside it.
constexpr std::uint64_t kXzMemoryBytes = std::uint64_t{256} << 20;

const std::uint8_t* as_u8(const std::byte* bytes) {
    return reinterpret_cast<const std::uint8_t*>(bytes);
}
std::uint8_t* as_u8(std::byte* bytes) {
    return reinterpret_cast<std::uint8_t*>(bytes);
}

bool unpack_gzip(Bytes packed, std::span<std::byte> output) {
    constexpr int kGzipWindow = 15 + 16;  // zlib.h: 16 more asks for the gzip header.
    z_stream stream{};
    if (::inflateInit2(&stream, kGzipWindow) != Z_OK) return false;
    stream.next_in = const_cast<Bytef*>(as_u8(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = as_u8(output.data());
    stream.avail_out = static_cast<uInt>(output.size());
    const int end = ::inflate(&stream, Z_FINISH);
    const bool filled = stream.avail_out == 0;
    ::inflateEnd(&stream);
    return end == Z_STREAM_END && filled;
}

bool unpack_xz(Bytes packed, std::span<std::byte> output) {
    std::uint64_t memory_limit = kXzMemoryBytes;
    std::size_t in = 0;
    std::size_t out = 0;
    const auto end =
        ::lzma_stream_buffer_decode(&memory_limit, 0, nullptr, as_u8(packed.data()), &in,
                                    packed.size(), as_u8(output.data()), &out, output.size());
    return end == LZMA_OK && out == output.size();
}

// The legacy frame (lz4_Frame_format.md): a magic number, then blocks with their packed size first.
bool unpack_lz4(Bytes packed, std::span<std::byte> output) {
    constexpr std::uint64_t kBlockBytes = std::uint64_t{8} << 20;
    std::uint64_t in = sizeof(std::uint32_t);
    std::size_t out = 0;
    while (in < packed.size()) {
        const auto block_bytes = load_bytes<std::uint32_t>(packed, in);
        if (!block_bytes) return false;
        const auto block = slice(packed, in + sizeof *block_bytes, *block_bytes);
        if (!block || block->size() > LZ4_COMPRESSBOUND(kBlockBytes)) return false;
        const auto room = output.subspan(out, std::min(kBlockBytes, output.size() - out));
        const int unpacked = ::LZ4_decompress_safe(
            reinterpret_cast<const char*>(block->data()), reinterpret_cast<char*>(room.data()),
            static_cast<int>(block->size()), static_cast<int>(room.size()));
        if (unpacked < 0) return false;
        in += sizeof *block_bytes + *block_bytes;
        out += static_cast<std::size_t>(unpacked);
    }
    return out == output.size();
}

bool unpack_zstd(Bytes packed, std::span<std::byte> output) {
    const std::size_t out =
        ::ZSTD_decompress(output.data(), output.size(), packed.data(), packed.size());
    return ::ZSTD_isError(out) == 0 && out == output.size();
}

struct Format {
    std::string_view name;
    std::string_view magic;
    Unpack unpack;  // Null: known by name, not supported.
    bool size_is_part_of_it;
};

using namespace std::string_view_literals;
constexpr std::array kFormats{
    Format{"gzip", "\x1f\x8b"sv, unpack_gzip, true},
    Format{"xz",
           "\xfd"
           "7zXZ\0"sv,
           unpack_xz, false},
    Format{"lz4", "\x02\x21\x4c\x18"sv, unpack_lz4, false},
    Format{"zstd", "\x28\xb5\x2f\xfd"sv, unpack_zstd, false},
    Format{"bzip2", "BZh"sv, nullptr, false},
    Format{"lzma", "\x5d\0\0"sv, nullptr, false},
    Format{"lzo", "\x89LZO"sv, nullptr, false},
};

bool starts_with(Bytes bytes, std::string_view magic) {
    return bytes.size() >= magic.size() &&
           std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

}  // namespace

Result<Mapping> map_kernel(std::uint64_t bytes) {
    auto mapping = Mapping::anonymous(bytes);
    if (!mapping) return Failure(mapping.error().with_context("no memory for the kernel"));
    return mapping;
}

Result<Mapping> unpack_payload(Bytes payload) {
    if (starts_with(payload,
                    "\x7f"
                    "ELF"sv)) {
        FTVMM_ASSIGN(Mapping output, map_kernel(payload.size()));
        std::ranges::copy(payload, output.bytes().begin());
        return output;
    }
    const auto* format = std::find_if(kFormats.begin(), kFormats.end(), [&](const Format& known) {
        return starts_with(payload, known.magic);
    });
    if (format == kFormats.end()) {
        return fail("the kernel is packed in a way that ftvmm does not know",
                    "give a kernel packed with gzip, xz, lz4 or zstd, or the unpacked vmlinux");
    }
    if (format->unpack == nullptr) {
        return fail(fmt::format("the kernel is packed with {}", format->name),
                    "give a kernel packed with gzip, xz, lz4 or zstd, or the unpacked vmlinux");
    }
    if (payload.size() < format->magic.size() + kSizeBytes) {
        return fail(fmt::format("the kernel's {} payload is cut short", format->name));
    }
    const auto size = load_bytes<std::uint32_t>(payload, payload.size() - kSizeBytes);
    if (*size == 0 || *size > kMaxUnpackedBytes) {
        return fail(fmt::format("the kernel's {} payload says that it unpacks to {} bytes, at most "
                                "{} are taken",
                                format->name, *size, kMaxUnpackedBytes),
                    "the file may be damaged: install the kernel again");
    }
    FTVMM_ASSIGN(Mapping output, map_kernel(*size));
    const auto packed =
        format->size_is_part_of_it ? payload : payload.first(payload.size() - kSizeBytes);
    if (!format->unpack(packed, output.bytes())) {
        return fail(fmt::format("the kernel's {} payload does not unpack to the {} bytes it names",
                                format->name, *size),
                    "the file may be damaged: install the kernel again");
    }
    return output;
}

}  // namespace ftvmm::boot

#include "vmm/machine/state_file.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <vector>

#include "vmm/machine/memory_chunk.h"
#include "vmm/pci/little_endian.h"

namespace ftvmm::machine {

namespace {

// "FTVMSTAT".
constexpr std::uint64_t kMagic = 0x5441'5453'4d56'5446;
constexpr std::uint32_t kVersion = 1;

// Where the header's fields lie.
constexpr std::size_t kMagicAt = 0;
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kMessageBytesAt = 16;
constexpr std::size_t kBulkBytesAt = 24;
constexpr std::size_t kHeaderChecksumAt = 32;
constexpr std::size_t kHeaderBytes = 40;

// The end marker's.
constexpr std::uint32_t kEndKind = 2;
constexpr std::size_t kChunksAt = 8;
constexpr std::size_t kPagesAt = 16;
constexpr std::size_t kEndBytes = 24;  // Without the checksum of the whole file.

constexpr std::size_t kKindBytes = 8;  // The start that both kinds of record share.

constexpr const char* kDamaged =
    "the file is damaged or was not written to its end: use another one, or start the VM anew";

using Word = std::array<std::byte, sizeof(std::uint64_t)>;

Word to_word(std::uint64_t value) {
    Word word{};
    pci::store_at(std::span(word), 0, value);
    return word;
}

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
    return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t checksum_of(std::span<const std::byte> first, std::span<const std::byte> second) {
    Checksum checksum;
    checksum.add(first);
    checksum.add(second);
    return checksum.value();
}

std::array<std::byte, kHeaderBytes> make_header(const EncodedState& state) {
    std::array<std::byte, kHeaderBytes> header{};
    const std::span bytes(header);
    pci::store_at(bytes, kMagicAt, kMagic);
    pci::store_at(bytes, kVersionAt, kVersion);
    pci::store_at(bytes, kMessageBytesAt, std::uint64_t{state.message.size()});
    pci::store_at(bytes, kBulkBytesAt, std::uint64_t{state.bulk.size()});
    pci::store_at(bytes, kHeaderChecksumAt, checksum_of(bytes.first(kHeaderChecksumAt)));
    return header;
}

Result<void> write_state(AtomicFile& file, const EncodedState& state) {
    const auto message = std::as_bytes(std::span(state.message));
    FTVMM_TRY(file.write(make_header(state)));
    FTVMM_TRY(file.write(message));
    FTVMM_TRY(file.write(state.bulk));
    return file.write(to_word(checksum_of(message, state.bulk)));
}

Result<void> write_memory(AtomicFile& file, const GuestMemory& memory) {
    ChunkCodec codec;
    std::uint64_t chunks = 0;
    std::uint64_t pages = 0;
    for (std::uint64_t page = 0; page < memory.size() / kPageBytes; page += kChunkPages) {
        FTVMM_ASSIGN(const auto chunk, codec.pack(memory.bytes(), page));
        if (chunk.header.count() == 0) continue;
        const auto header = chunk.header.encode();
        FTVMM_TRY(file.write(header));
        FTVMM_TRY(file.write(chunk.data));
        FTVMM_TRY(file.write(to_word(checksum_of(header, chunk.data))));
        ++chunks;
        pages += chunk.header.count();
    }
    std::array<std::byte, kEndBytes> end{};
    pci::store_at(std::span(end), 0, kEndKind);
    pci::store_at(std::span(end), kChunksAt, chunks);
    pci::store_at(std::span(end), kPagesAt, pages);
    FTVMM_TRY(file.write(end));
    return file.write(to_word(file.checksum()));
}

Result<void> read_checksum(FileReader& file, std::uint64_t wanted) {
    Word word{};
    FTVMM_TRY(file.read(word));
    if (word == to_word(wanted)) return {};
    return fail("a checksum in it is wrong");
}

// What no advice about damage fits is told as it is.
Error damaged(const Error& error, const std::string& path) {
    const Error named = error.with_context(path);
    return error.advice().empty() ? named.with_advice(kDamaged) : named;
}

}  // namespace

Result<void> write_state_file(const std::string& path, const EncodedState& state,
                              const GuestMemory& memory) {
    FTVMM_ASSIGN(auto file, AtomicFile::create(path));
    FTVMM_TRY(write_state(file, state));
    FTVMM_TRY(write_memory(file, memory));
    return file.commit();
}

Result<StateFile> StateFile::open(const std::string& path) {
    FTVMM_ASSIGN(auto reader, FileReader::open(path));
    StateFile file(path, std::move(reader));
    if (const auto read = file.read_state(); !read) return Failure(damaged(read.error(), path));
    return file;
}

Result<void> StateFile::read_state() {
    std::array<std::byte, kHeaderBytes> header{};
    const std::span<const std::byte> bytes(header);
    FTVMM_TRY(file_.read(std::span(header).first(kMessageBytesAt)));
    if (pci::load_at<std::uint64_t>(bytes, kMagicAt) != kMagic) {
        return fail("it is no state of a VM", "give a file that ftvmm saved a VM to");
    }
    if (const auto version = pci::load_at<std::uint32_t>(bytes, kVersionAt); version != kVersion) {
        return fail(fmt::format("its format is version {}, and this ftvmm reads version {}",
                                version, kVersion),
                    "restore it with the ftvmm that wrote it, or start the VM anew");
    }
    FTVMM_TRY(file_.read(std::span(header).subspan(kMessageBytesAt)));
    if (pci::load_at<std::uint64_t>(bytes, kHeaderChecksumAt) !=
        checksum_of(bytes.first(kHeaderChecksumAt))) {
        return fail("a checksum in it is wrong");
    }
    const auto message_bytes = pci::load_at<std::uint64_t>(bytes, kMessageBytesAt);
    const auto bulk_bytes = pci::load_at<std::uint64_t>(bytes, kBulkBytesAt);
    if (message_bytes > kMaxMessageBytes || bulk_bytes > kMaxBulkBytes) {
        return fail("its state is larger than any machine's");
    }
    state_.message.resize(message_bytes);
    state_.bulk.resize(bulk_bytes);
    const auto message = std::as_writable_bytes(std::span(state_.message));
    FTVMM_TRY(file_.read(message));
    FTVMM_TRY(file_.read(state_.bulk));
    return read_checksum(file_, checksum_of(message, state_.bulk));
}

Result<void> StateFile::read_memory(const GuestMemory& memory) {
    if (const auto read = read_records(memory); !read) {
        return Failure(damaged(read.error(), path_));
    }
    return {};
}

Result<void> StateFile::read_records(const GuestMemory& memory) {
    ChunkCodec codec;
    std::array<std::byte, ChunkHeader::kBytes> bytes{};
    std::vector<std::byte> data;
    std::uint64_t chunks = 0;
    std::uint64_t pages = 0;
    std::uint64_t next_page = 0;  // Chunks come in order, each once.
    while (true) {
        FTVMM_TRY(file_.read(std::span(bytes).first(kKindBytes)));
        const auto kind = pci::load_at<std::uint32_t>(std::span<const std::byte>(bytes), 0);
        if (kind == kEndKind) return read_end(chunks, pages);
        if (kind != ChunkHeader::kRecordKind) return fail("it holds a record of no known kind");
        FTVMM_TRY(file_.read(std::span(bytes).subspan(kKindBytes)));
        FTVMM_ASSIGN(const auto header, ChunkHeader::decode(bytes, memory.size() / kPageBytes));
        if (header.first_page < next_page) return fail("pieces of its memory are out of order");
        next_page = header.first_page + kChunkPages;
        data.resize(header.compressed_bytes);
        FTVMM_TRY(file_.read(data));
        FTVMM_TRY(read_checksum(file_, checksum_of(bytes, data)));
        FTVMM_TRY(codec.unpack(header, data, memory.bytes()));
        ++chunks;
        pages += header.count();
    }
}

Result<void> StateFile::read_end(std::uint64_t chunks, std::uint64_t pages) {
    std::array<std::byte, kEndBytes> end{};
    const std::span<const std::byte> bytes(end);
    FTVMM_TRY(file_.read(std::span(end).subspan(kKindBytes)));
    if (pci::load_at<std::uint64_t>(bytes, kChunksAt) != chunks ||
        pci::load_at<std::uint64_t>(bytes, kPagesAt) != pages) {
        return fail("pieces of its memory are missing");
    }
    FTVMM_TRY(read_checksum(file_, file_.checksum()));
    FTVMM_ASSIGN(const bool is_at_end, file_.is_at_end());
    if (!is_at_end) return fail("something follows its end marker");
    return {};
}

}  // namespace ftvmm::machine

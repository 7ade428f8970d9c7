#include "replay/log_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

namespace ftvmm::replay {

namespace {

Result<void> sync_folder_of(const std::string& path) {
    const auto parent = std::filesystem::path(path).parent_path();
    const std::string folder = parent.empty() ? "." : parent.string();
    FTVMM_ASSIGN(const Fd fd, Fd::open(folder, O_RDONLY | O_DIRECTORY));
    if (::fsync(fd.get()) != 0) return Failure(Error::from_errno(errno, folder));
    return {};
}

}  // namespace

Result<LogWriter> LogWriter::create(const std::string& path, const LogHeader& header) {
    FTVMM_ASSIGN(const auto bytes, encode_log_header(header));
    Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!fd.valid()) {
        const int error = errno;
        return Failure(Error::from_errno(error, path,
                                         error == EEXIST ? "give another name, or remove it" : ""));
    }
    LogWriter writer(path, std::move(fd));
    auto begun = writer.append(bytes);
    if (begun) begun = sync_folder_of(path);
    if (!begun) {
        ::unlink(path.c_str());
        return Failure(begun.error());
    }
    return writer;
}

Result<void> LogWriter::append(std::span<const std::byte> batches) {
    std::uint64_t at = bytes_;
    for (auto rest = batches; !rest.empty();) {
        const ssize_t written =
            ::pwrite(fd_.get(), rest.data(), rest.size(), static_cast<off_t>(at));
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            const int error = errno;
            // The tail of a batch would hide behind a shorter one that is appended later.
            (void)::ftruncate(fd_.get(), static_cast<off_t>(bytes_));
            return Failure(Error::from_errno(
                error, fmt::format("{}: writing the log at byte {}", path_, at),
                "free space there, or record elsewhere: the log holds all until then"));
        }
        at += static_cast<std::uint64_t>(written);
        rest = rest.subspan(static_cast<std::size_t>(written));
    }
    bytes_ = at;
    return {};
}

Result<void> LogWriter::sync() {
    if (::fdatasync(fd_.get()) == 0) return {};
    return Failure(Error::from_errno(
        errno, fmt::format("{}: making the log durable up to byte {}", path_, bytes_),
        "take what the log holds since it was last made durable for lost, and look at the disk"));
}

std::string describe(const LogTail& tail) {
    switch (tail.kind) {
        case LogTail::Kind::kEnded:
            return "the log is whole";
        case LogTail::Kind::kStopped:
            return fmt::format("the log holds no end: its writer was stopped at byte {}",
                               tail.offset);
        case LogTail::Kind::kTorn:
            return fmt::format("the log is torn: its writer was stopped in a batch at byte {}",
                               tail.offset);
        case LogTail::Kind::kCorrupt:
            return fmt::format("the log is damaged at byte {}: {}", tail.offset, tail.why);
    }
    return {};
}

Result<LogReader> LogReader::open(const std::string& path) {
    FTVMM_ASSIGN(Fd fd, Fd::open(path, O_RDONLY));
    LogReader reader(path, std::move(fd));
    if (const auto read = reader.read_header(); !read) {
        return Failure(read.error().with_context(path));
    }
    return reader;
}

Result<std::size_t> LogReader::read_at(std::uint64_t offset, std::span<std::byte> target) const {
    std::size_t done = 0;
    while (done < target.size()) {
        const auto rest = target.subspan(done);
        const ssize_t got =
            ::pread(fd_.get(), rest.data(), rest.size(), static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            return Failure(Error::from_errno(
                errno, fmt::format("{}: reading the log at byte {}", path_, offset + done)));
        }
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    return done;
}

Result<void> LogReader::read_header() {
    std::vector<std::byte> bytes(kLogHeaderPrefixBytes);
    FTVMM_ASSIGN(const std::size_t prefix, read_at(0, bytes));
    if (prefix == bytes.size()) {
        FTVMM_ASSIGN(const std::size_t wanted,
                     log_header_bytes(std::span(bytes).first<kLogHeaderPrefixBytes>()));
        bytes.resize(wanted);
    }
    FTVMM_ASSIGN(const std::size_t got, read_at(0, bytes));
    bytes.resize(got);
    FTVMM_ASSIGN(header_, decode_log_header(bytes));
    offset_ = got;
    return {};
}

std::nullopt_t LogReader::end(LogTail::Kind kind, std::string why) {
    tail_ = LogTail{kind, offset_, std::move(why)};
    return std::nullopt;
}

Result<std::optional<Batch>> LogReader::next() {
    using Kind = LogTail::Kind;
    std::array<std::byte, BatchHeader::kBytes> bytes{};
    FTVMM_ASSIGN(const std::size_t got, read_at(offset_, bytes));
    if (got == 0) return end(is_ended_ ? Kind::kEnded : Kind::kStopped);
    if (got < bytes.size()) return end(Kind::kTorn);
    const auto header = BatchHeader::decode(bytes);
    if (!header) return end(Kind::kCorrupt, header.error().what());
    if (next_ && header->first != *next_) {
        return end(Kind::kCorrupt, fmt::format("record {} is followed by record {}",
                                               next_->value() - 1, header->first.value()));
    }
    payload_.resize(header->stored_bytes);
    FTVMM_ASSIGN(const std::size_t stored, read_at(offset_ + bytes.size(), payload_));
    if (stored < payload_.size()) return end(Kind::kTorn);
    auto batch = decode_payload(*header, payload_);
    if (!batch) return end(Kind::kCorrupt, batch.error().what());
    const Record& first = batch->records.front();
    if (first.at < at_ && !std::holds_alternative<record::PowerOn>(first.body)) {
        return end(Kind::kCorrupt, "its records lie before those of the batch before it");
    }
    at_ = batch->records.back().at;
    offset_ += bytes.size() + stored;
    next_ = batch->first + batch->records.size();
    const auto* last = std::get_if<record::End>(&batch->records.back().body);
    is_ended_ = last != nullptr && !is_reset(last->kind);
    return std::move(*batch);
}

}  // namespace ftvmm::replay

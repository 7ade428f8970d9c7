#include "heartbeat/beat.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <concepts>

#include "base/check.h"

namespace ftvmm::heartbeat {

namespace {

// "FTVH".
constexpr std::uint32_t kMagic = 0x4856'5446;
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kTagBytes = 32;
constexpr std::size_t kTagAt = kBeatBytes - kTagBytes;  // Covers all before it.

using Tag = std::array<std::byte, kTagBytes>;

Tag tag_of(std::span<const std::byte, kTagAt> bytes, const BeatKey& key) {
    Tag tag{};
    unsigned size = 0;
    const auto* made =
        ::HMAC(::EVP_sha256(), key.secret().data(), static_cast<int>(BeatKey::kBytes),
               reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
               reinterpret_cast<unsigned char*>(tag.data()), &size);
    FTVMM_CHECK(made != nullptr && size == kTagBytes, "OpenSSL has HMAC-SHA256");
    return tag;
}

// Numbers one after another, little endian, in a datagram whose size was checked.
class Writer {
  public:
    explicit Writer(std::span<std::byte> bytes) : bytes_(bytes) {}

    template <std::unsigned_integral T>
    void put(T value) {
        for (std::size_t i = 0; i < sizeof(T); ++i)
            bytes_[i] = static_cast<std::byte>(std::uint64_t{value} >> (8U * i));
        bytes_ = bytes_.subspan(sizeof(T));
    }

  private:
    std::span<std::byte> bytes_;
};

class Reader {
  public:
    explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

    template <std::unsigned_integral T>
    T take() {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i)
            value |= std::to_integer<std::uint64_t>(bytes_[i]) << (8U * i);
        bytes_ = bytes_.subspan(sizeof(T));
        return static_cast<T>(value);
    }

  private:
    std::span<const std::byte> bytes_;
};

}  // namespace

BeatKey::BeatKey(std::span<const std::byte, kBytes> secret) {
    std::ranges::copy(secret, secret_.begin());
}

BeatKey::~BeatKey() {
    ::OPENSSL_cleanse(secret_.data(), secret_.size());
}

const char* name_of(Refusal refusal) {
    constexpr std::array<const char*, kRefusals> kNames = {
        "size", "no beat",    "version", "forged", "fields",
        "vm",   "generation", "unsent",  "old",    "repeated"};
    return kNames.at(static_cast<std::size_t>(refusal));
}

BeatBytes encode_beat(const Beat& beat, const BeatKey& key) {
    FTVMM_CHECK(beat.number != BeatNumber(), "a beat has a number");
    BeatBytes bytes{};
    Writer writer(bytes);
    writer.put(kMagic);
    writer.put(kVersion);
    writer.put(static_cast<std::uint8_t>(beat.role));
    writer.put(std::uint16_t{0});
    for (const std::uint8_t byte : beat.vm)
        writer.put(byte);
    writer.put(beat.generation.value());
    writer.put(beat.number.value());
    writer.put(static_cast<std::uint64_t>(beat.sent_at.time_since_epoch().count()));
    writer.put(beat.echo.value());
    const std::span whole(bytes);
    std::ranges::copy(tag_of(whole.first<kTagAt>(), key), whole.last<kTagBytes>().begin());
    return bytes;
}

tl::expected<Beat, Refusal> decode_beat(std::span<const std::byte> datagram, const BeatKey& key) {
    if (datagram.size() != kBeatBytes) return tl::unexpected(Refusal::kSize);
    Reader reader(datagram);
    if (reader.take<std::uint32_t>() != kMagic) return tl::unexpected(Refusal::kNoBeat);
    if (reader.take<std::uint8_t>() != kVersion) return tl::unexpected(Refusal::kVersion);
    const Tag tag = tag_of(datagram.first<kTagAt>(), key);
    // Takes as long wherever they differ, so that nobody finds a tag byte by byte.
    if (::CRYPTO_memcmp(tag.data(), datagram.last<kTagBytes>().data(), kTagBytes) != 0) {
        return tl::unexpected(Refusal::kForged);
    }
    const auto role = reader.take<std::uint8_t>();
    const auto reserved = reader.take<std::uint16_t>();
    Beat beat;
    beat.role = static_cast<Role>(role);
    for (std::uint8_t& byte : beat.vm)
        byte = reader.take<std::uint8_t>();
    beat.generation = Generation(reader.take<std::uint64_t>());
    beat.number = BeatNumber(reader.take<std::uint64_t>());
    beat.sent_at =
        Instant(BootClock::duration(static_cast<BootClock::rep>(reader.take<std::uint64_t>())));
    beat.echo = BeatNumber(reader.take<std::uint64_t>());
    const bool is_role = role >= static_cast<std::uint8_t>(Role::kPrimary) &&
                         role <= static_cast<std::uint8_t>(Role::kGoingLive);
    const bool is_answer_of_none = beat.role == Role::kGoingLive && beat.echo != BeatNumber();
    if (!is_role || reserved != 0 || beat.number == BeatNumber() || is_answer_of_none) {
        return tl::unexpected(Refusal::kFields);
    }
    return beat;
}

}  // namespace ftvmm::heartbeat

#include "base/fd.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstdint>
#include <utility>

#include <catch2/catch.hpp>

namespace ftvmm {
namespace {

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

TEST_CASE("An Fd closes what it owns, once, and not after it was moved from") {
    int raw = -1;
    {
        auto fd = Fd::open("/dev/null", O_RDONLY);
        REQUIRE(fd);
        raw = fd->get();
        CHECK((::fcntl(raw, F_GETFD) & FD_CLOEXEC) != 0);
        const Fd owner = std::move(*fd);
        CHECK(owner.get() == raw);
        CHECK_FALSE(fd->valid());
        CHECK(is_open(raw));
    }
    CHECK_FALSE(is_open(raw));
}

TEST_CASE("Assigning to an Fd closes the descriptor it had") {
    int first = -1;
    auto target = Fd::open("/dev/null", O_RDONLY);
    REQUIRE(target);
    first = target->get();
    {
        auto source = Fd::open("/dev/zero", O_RDONLY);
        REQUIRE(source);
        *target = std::move(*source);
    }
    CHECK_FALSE(is_open(first));
    CHECK(is_open(target->get()));
}

TEST_CASE("Opening what is not there names the path and the reason") {
    const auto fd = Fd::open("/nonexistent/file", O_RDONLY);
    REQUIRE_FALSE(fd);
    CHECK(fd.error().what() == "/nonexistent/file: No such file or directory");
    CHECK(fd.error().error_number() == ENOENT);
}

TEST_CASE("An anonymous mapping is zeroed, writable and keeps its address when moved") {
    auto mapping = Mapping::anonymous(8192);
    REQUIRE(mapping);
    const auto bytes = mapping->bytes();
    REQUIRE(bytes.size() == 8192);
    CHECK(bytes[8191] == std::byte{0});
    bytes[8191] = std::byte{7};
    const Mapping moved = std::move(*mapping);
    CHECK(moved.bytes().data() == bytes.data());
    CHECK(moved.bytes()[8191] == std::byte{7});
    CHECK(mapping->bytes().empty());
}

TEST_CASE("A mapping that cannot be had is an error, not a crash") {
    CHECK_FALSE(Mapping::anonymous(std::size_t{1} << 60));
    CHECK_FALSE(Mapping::anonymous_huge(std::size_t{1} << 60));
    CHECK_FALSE(Mapping::anonymous_huge(SIZE_MAX));
    CHECK_FALSE(Mapping::shared(Fd(), 4096));
}

}  // namespace
TEST_CASE("A mapping for huge pages begins at one and has its own pages alone") {
    for (const std::size_t size : {std::size_t{4096}, kHugePageBytes, 3 * kHugePageBytes - 4096}) {
        const auto mapping = Mapping::anonymous_huge(size);
        REQUIRE(mapping);
        REQUIRE(mapping->bytes().size() == size);
        const auto address = reinterpret_cast<std::uintptr_t>(mapping->bytes().data());
        CHECK(address % kHugePageBytes == 0);
        mapping->bytes().back() = std::byte{1};
        CHECK(mapping->bytes().front() == std::byte{0});
        // What lies before and behind was given back: a page asked for there without force is had.
        void* const behind = mapping->bytes().data() + size;
        void* const got = ::mmap(behind, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(got == behind);
        (void)::munmap(got, 4096);
    }
}

}  // namespace ftvmm

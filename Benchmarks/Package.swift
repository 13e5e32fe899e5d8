// swift-tools-version: 6.2
import PackageDescription

let cSettings: [CSetting] = [
    .define("_GNU_SOURCE"),
    .treatAllWarnings(as: .error), .enableWarning("conversion"), .enableWarning("shadow"),
]
let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "Benchmarks",
    dependencies: [
        .package(name: "SharedState", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        .target(
            name: "CBench", dependencies: [.product(name: "CShm", package: "SharedState")],
            cSettings: cSettings),
        .target(
            name: "BenchKit",
            dependencies: [
                "CBench",
                .product(name: "SharedState", package: "SharedState"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            // Tests and figures come from one optimised build.
            swiftSettings: swiftSettings + [.unsafeFlags(["-enable-testing"])]),
        .executableTarget(
            name: "shmbench",
            dependencies: [
                "BenchKit",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: swiftSettings),
        .target(name: "CCount", cSettings: cSettings),
        .executableTarget(
            name: "countprobe",
            dependencies: ["CCount", .product(name: "SharedState", package: "SharedState")],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "startprobe",
            dependencies: [.product(name: "SharedState", package: "SharedState")],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "actorprobe",
            dependencies: [
                .product(name: "SharedState", package: "SharedState"),
                .product(name: "SharedStateActors", package: "SharedState"),
            ],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "BenchKitTests",
            dependencies: [
                "BenchKit", .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "SharedState", package: "SharedState"),
            ],
            exclude: ["Peers"],
            swiftSettings: swiftSettings),
    ],
    cLanguageStandard: .c17
)
